import { serve } from "./server";

void serve({ name: "sluice", version: "0.1.0", resources: async () => (await import("./resources")).resources });

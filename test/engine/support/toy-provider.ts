import { serve } from "../../../src/provider/server";

serve({ name: "toy", version: "0.0.1", resources: async () => [(await import("./toy-resource")).toy] });

import { agentSocket } from "./agent-socket";
import { drainTime } from "./drain-time";
import { freezeWindow } from "./freeze-window";
import { migrations } from "./migrations";
import { minimumRequests } from "./minimum-requests";
import { plainSecrets } from "./plain-secrets";
import { promotionGates } from "./promotion-gates";
import { promotionStages } from "./promotion-stages";
import { publicListeners } from "./public-listeners";
import { removedSettings } from "./removed-settings";
import { rollbackTarget } from "./rollback-target";
import { singleInstances } from "./single-instances";
import { sliWindow } from "./sli-window";
import { sloThresholds } from "./slo-thresholds";
import { spread } from "./spread";
import type { Policy } from "./support/policy";

/** Every policy of the pack. */
export const policies: readonly Policy[] = [
  promotionStages,
  promotionGates,
  sliWindow,
  sloThresholds,
  minimumRequests,
  rollbackTarget,
  freezeWindow,
  migrations,
  singleInstances,
  drainTime,
  spread,
  plainSecrets,
  publicListeners,
  agentSocket,
  removedSettings,
];

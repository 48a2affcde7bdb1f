import type { Operation } from "../operation.ts";
import type { Parts } from "../parts.ts";
import { activityOperations } from "./activity.ts";
import { apiKeyOperations } from "./api_keys.ts";
import { authOperations } from "./auth.ts";
import { dlqOperations } from "./dlq.ts";
import { groupOperations } from "./groups.ts";
import { invitationOperations } from "./invitations.ts";
import { memberOperations } from "./members.ts";
import { messageOperations } from "./messages.ts";
import { oneTimeTokenOperations } from "./one_time_tokens.ts";
import { routingRuleOperations } from "./routing_rules.ts";
import { providerOperations } from "./providers.ts";
import { refusedSubmissionOperations } from "./refused_submissions.ts";
import { sessionOperations } from "./sessions.ts";
import { statisticsOperations } from "./statistics.ts";
import { suppressionOperations } from "./suppressions.ts";
import { providerTestOperations } from "./test_provider.ts";
import { userOperations } from "./users.ts";
import { webhookOperations } from "./webhooks.ts";

/** Every operation of the API; the only place that names all resources. */
export function apiOperations(parts: Parts): readonly Operation[] {
  return [
    ...authOperations(parts),
    ...groupOperations(parts),
    ...memberOperations(parts),
    ...userOperations(parts),
    ...invitationOperations(parts),
    ...oneTimeTokenOperations(parts),
    ...apiKeyOperations(parts),
    ...sessionOperations(parts),
    ...routingRuleOperations(parts),
    ...messageOperations(parts),
    ...dlqOperations(parts),
    ...refusedSubmissionOperations(parts),
    ...suppressionOperations(parts),
    ...statisticsOperations(parts),
    ...activityOperations(parts),
    ...providerOperations(parts),
    ...providerTestOperations(parts),
    ...webhookOperations(parts),
  ];
}

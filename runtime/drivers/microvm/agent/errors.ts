import { defineErrors } from '../../../../errors/skerry-error.ts';

export const agentErrors = defineErrors({
  AGENT_SILENT: {
    status: 503,
    what: (what: string, ms: number) => `the agent in the machine did not answer within ${ms} ms: ${what}`,
    fix: 'try again: another machine is started; see the log of the node',
    retryAfter: 1,
  },
  AGENT_NONSENSE: {
    status: 503,
    what: (why: string) => `the agent in the machine says what no agent says: ${why}`,
    fix: 'try again: another machine is started; if it happens again, do not trust what runs in it',
    retryAfter: 1,
  },
  AGENT_GONE: {
    status: 503,
    what: () => 'the agent in the machine has ended',
    fix: 'try again: another machine is started',
    retryAfter: 1,
  },
  AGENT_OTHER_VERSION: {
    status: 503,
    what: (agent: number, node: number) =>
      `the agent in the machine speaks version ${agent} of its protocol, the node version ${node}`,
    fix: 'build the agent again with `npm run build`',
    retryAfter: 60,
  },
  AGENT_REQUEST_TOO_LONG: {
    status: 422,
    what: (bytes: number, most: number) =>
      `what a machine is to be told takes ${bytes} bytes, and ${most} can be: its environment, command or files are too long`,
    fix: 'pass long texts in a volume or over the network',
  },
});

/** The agent understood and refuses; the driver knows what that means for its workload. `code`: native/agent/README.md. */
export class AgentRefusal extends Error {
  readonly code: string;

  constructor(code: string, why: string) {
    super(why);
    this.name = 'AgentRefusal';
    this.code = code;
  }
}

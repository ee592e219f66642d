/** What the node and the child process that builds say to each other, over the child's IPC channel. */

export interface BuildRequest {
  /** A private folder of this build; holds the source as `function.js`, and takes the component. */
  readonly workFolder: string;
  /** Where the engine is kept between builds; null to keep nothing. */
  readonly cacheFolder: string | null;
  /** For the run of the source's top level, in milliseconds. */
  readonly timeLimitMs: number;
  readonly memoryLimitBytes: number;
  readonly sizeLimitBytes: number;
}

export type BuildProblem =
  | { readonly kind: 'failed'; readonly problem: string }
  | { readonly kind: 'no-handler' | 'timeout' | 'memory' }
  | { readonly kind: 'too-large'; readonly bytes: number }
  | { readonly kind: 'broken'; readonly why: string };

export type BuildMessage =
  | { readonly type: 'progress'; readonly step: string }
  | { readonly type: 'built'; readonly path: string }
  | { readonly type: 'problem'; readonly problem: BuildProblem };

/** Thrown inside the child for an end that has a name in the protocol. */
export class BuildStopped extends Error {
  readonly problem: BuildProblem;

  constructor(problem: BuildProblem) {
    super(problem.kind);
    this.problem = problem;
  }
}

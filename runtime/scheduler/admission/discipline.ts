/** In which order work that waits gets its place; chosen by configuration, one for the node. */

export const DISCIPLINES = ['fcfs', 'slice', 'sjf'] as const;
export type Discipline = (typeof DISCIPLINES)[number];

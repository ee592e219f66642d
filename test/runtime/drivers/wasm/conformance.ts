/** What both Wasm engines promise: the same tests over each. */
import { answers } from './conformance/answers.ts';
import { type Features, type OpenEngine, openBench } from './conformance/bench.ts';
import { bodies } from './conformance/bodies.ts';
import { config } from './conformance/config.ts';
import { deploys } from './conformance/deploys.ts';
import { failures } from './conformance/failures.ts';
import { figures } from './conformance/figures.ts';
import { isolation } from './conformance/isolation.ts';
import { keyvalue } from './conformance/keyvalue.ts';
import { lives } from './conformance/lives.ts';
import { logging } from './conformance/logging.ts';
import { outbound } from './conformance/outbound.ts';
import { p3 } from './conformance/p3.ts';
import { cpuTime, reuse } from './conformance/reuse.ts';

/**
 * Registers the tests; call it once in an engine's own `conformance.test.ts`.
 * @param name the name of the suite, such as `wasmtime`
 */
export function wasmConformance(name: string, openEngine: OpenEngine, features: Features): void {
  const bench = openBench(openEngine);
  deploys(name, bench);
  answers(name, bench);
  bodies(name, bench);
  failures(name, bench);
  isolation(name, bench);
  lives(name, bench);
  figures(name, bench);
  p3(name, bench, features);
  reuse(name, bench, features);
  cpuTime(name, bench);
  outbound(name, bench, features);
  config(name, bench);
  keyvalue(name, bench, features);
  logging(name, bench);
}

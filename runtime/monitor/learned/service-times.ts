/** What a request will take once it runs, learned route by route from those that came. */

/** Routes of one revision that are told apart. */
const ROUTES = 256;
/** Of a path, characters that are looked at. */
const PATH_CHARACTERS = 64;
/** Share of a new time in a route's mean, and of a new error in the scores. */
const GAIN = 1 / 8;
const SCORE_GAIN = 1 / 64;
const ENOUGH = 4;

/** A number for a path: `/orders/17` and `/orders/4` are one route. Cheap enough for every request. */
export function routeKey(path: string): number {
  let hash = 0x811c9dc5;
  let digits = false;
  const length = Math.min(path.length, PATH_CHARACTERS);
  for (let i = 0; i < length; i++) {
    const code = path.charCodeAt(i);
    const digit = code >= 48 && code <= 57;
    if (digit && digits) continue;
    digits = digit;
    hash = Math.imul(hash ^ (digit ? 48 : code), 0x01000193);
  }
  return ((hash >>> 16) ^ hash) & (ROUTES - 1);
}

/**
 * A mean for each route beside that of all requests. Both are scored against what came: where the routes do worse than the
 * one mean, they are not used.
 */
export class ServiceTimes {
  readonly #meanMs = new Float64Array(ROUTES);
  readonly #seen = new Uint32Array(ROUTES);
  #allMs = 0;
  #count = 0;
  #routeErrorMs = 0;
  #naiveErrorMs = 0;

  /** In milliseconds; 0 while too little is known. */
  expect(route: number): number {
    if (this.#count < ENOUGH) return 0;
    return this.trusted && this.#seen[route]! >= ENOUGH ? this.#meanMs[route]! : this.#allMs;
  }

  /** The routes tell more than the mean of all. */
  get trusted(): boolean {
    return this.#routeErrorMs <= this.#naiveErrorMs;
  }

  /** Mean absolute errors, in milliseconds: of the routes, and of the mean of all. */
  get errorsMs(): { readonly routes: number; readonly naive: number } {
    return { routes: this.#routeErrorMs, naive: this.#naiveErrorMs };
  }

  observe(route: number, ms: number): void {
    if (!(ms >= 0)) return;
    const seen = this.#seen[route]!;
    if (seen >= ENOUGH) {
      this.#routeErrorMs += (Math.abs(ms - this.#meanMs[route]!) - this.#routeErrorMs) * SCORE_GAIN;
      this.#naiveErrorMs += (Math.abs(ms - this.#allMs) - this.#naiveErrorMs) * SCORE_GAIN;
    }
    // A plain mean at first: one odd request is not the route.
    this.#meanMs[route]! += (ms - this.#meanMs[route]!) * Math.max(GAIN, 1 / (seen + 1));
    this.#seen[route] = seen + 1;
    this.#count++;
    this.#allMs += (ms - this.#allMs) * Math.max(GAIN / 8, 1 / this.#count);
  }
}

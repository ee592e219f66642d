/**
 * What waits for a worker: a lane for each function, served in turn, so that one with many requests that run for long holds
 * up no other one. Arrays, since a Set or Map that changes with each request is kept alive by V8 beyond its use (see
 * runtime/roster.ts), and a list of links is the same.
 */

/** The jobs of one function that wait, in the order in which they came. It lives as long as the function. */
export class Lane<T> {
  readonly jobs: T[] = [];
}

export class Lanes<T extends { readonly lane: Lane<T> }> {
  /** Those in which something waits. */
  readonly #waiting: Lane<T>[] = [];
  /** Whose turn it is. */
  #turn = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(job: T): void {
    const { lane } = job;
    // It comes last: just before the one whose turn it is.
    if (lane.jobs.length === 0) this.#waiting.splice(this.#turn++, 0, lane);
    lane.jobs.push(job);
    this.#size++;
  }

  /** The job that is next; it stays. */
  peek(): T | undefined {
    if (this.#turn >= this.#waiting.length) this.#turn = 0;
    return this.#waiting[this.#turn]?.jobs[0];
  }

  /** Takes the job that is next; then it is another function's turn. */
  take(): T | undefined {
    const job = this.peek();
    if (!job) return undefined;
    job.lane.jobs.shift();
    this.#size--;
    if (job.lane.jobs.length === 0) this.#waiting.splice(this.#turn, 1);
    else this.#turn++;
    return job;
  }

  /** Takes a job out of the middle, if it waits. */
  remove(job: T): void {
    const { jobs } = job.lane;
    const at = jobs.indexOf(job);
    if (at === -1) return;
    jobs.splice(at, 1);
    this.#size--;
    if (jobs.length > 0) return;
    const place = this.#waiting.indexOf(job.lane);
    this.#waiting.splice(place, 1);
    if (place < this.#turn) this.#turn--;
  }
}

/** Those who are there, in no order: for what comes and goes with each request. */

export interface Member {
  /** Its index, kept by the roster; -1 while it is in none. */
  place: number;
}

/**
 * A Set that is used so makes a new table again and again, and V8's old table refers to the new one: once one of them
 * is in the old generation, the scavenger takes all that ever were in a later table for alive until the next full
 * collection. With the requests of one function in a Set a request cost a sixth more, and p99 was three times as long.
 */
export class Roster<T extends Member> implements Iterable<T> {
  readonly #members: T[] = [];

  get size(): number {
    return this.#members.length;
  }

  add(member: T): void {
    if (member.place >= 0) return;
    member.place = this.#members.length;
    this.#members.push(member);
  }

  delete(member: T): void {
    const { place } = member;
    if (place < 0) return;
    member.place = -1;
    const last = this.#members.pop() as T;
    if (last === member) return;
    last.place = place;
    this.#members[place] = last;
  }

  /** Over those that are there now: they may leave meanwhile. */
  [Symbol.iterator](): Iterator<T> {
    return [...this.#members][Symbol.iterator]();
  }
}

/** What has to be undone, the last first. */
export class Undo {
  readonly #steps: ((failed: boolean) => Promise<unknown> | unknown)[] = [];

  /** `failed`: the node never came up. */
  add(step: (failed: boolean) => Promise<unknown> | unknown): void {
    this.#steps.push(step);
  }

  async run(failed: boolean, onError: (error: unknown) => void): Promise<void> {
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step(failed);
      } catch (error) {
        onError(error);
      }
    }
  }
}

/** Commits until the disk fails once, and prints what the store says before, then, and after. Argument: the folder. */
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { openStateStore } from '../../../runtime/state/index.ts';

const state = await openStateStore(process.argv[2]!);
let committed = 0;
let failure = '';
while (failure === '' && committed < 100)
  await state.commit([{ key: `doc/${committed}`, expect: 0, value: committed }]).then(
    () => committed++,
    (error: SkerryError) => {
      failure = error.code;
    },
  );
const whileFailed = state.list('doc/').length;
// Readers go on while the store is opened anew.
const next = state.commit([{ key: `doc/${committed}`, expect: 0, value: committed }]);
let turns = 0;
let missing = 0;
let done = false;
const again = next.then(() => {
  done = true;
});
while (!done) {
  if (state.get('doc/0') === null) missing++;
  turns++;
  await new Promise((resolve) => setImmediate(resolve));
}
await again;
const after = state.list('doc/').length;
await state.close();
const reopened = await openStateStore(process.argv[2]!);
const atLast = reopened.list('doc/').length;
await reopened.close();
console.log(JSON.stringify({ committed, failure, whileFailed, turns, missing, after, atLast }));

/** Processes that the node watches without having started them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import * as assert from 'uvu/assert';
import { HostProcess, setChildSubreaper, setParentDeathSignal, startTimeOf } from '../../../native/host/index.ts';
import { hostSuite, noMoreFilesThan, openFiles, refused } from '../../support/host-suite.ts';

const { test, run } = hostSuite('processes');
const [major = 0, minor = 0] = release().split('.').map(Number);
/** Exits of other processes' children are told since Linux 6.15. */
const tellsExits = major > 6 || (major === 6 && minor >= 15);

/** As an argument: this file is a process that does so, and no test. */
const DIE_WITH_PARENT = 'die-with-parent';

/** A process that is the child of another than this one, which reaps it at once. */
async function grandchild(script: string): Promise<{ pid: number; end(): Promise<void> }> {
  const parent = spawn('/bin/sh', ['-c', `sh -c '${script}' & echo $!; wait`], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [pid] = await once(parent.stdout, 'data');
  return {
    pid: Number(String(pid)),
    async end() {
      if (parent.exitCode === null && parent.signalCode === null) await once(parent, 'exit');
    },
  };
}

test('a process is signalled, and its end and exit are told', [], async () => {
  const { pid, end } = await grandchild('exec sleep 60');
  const watched = await HostProcess.open(pid);
  let over = false;
  const exited = watched.exited().finally(() => {
    over = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.is(over, false);
  await watched.signal('SIGTERM');
  assert.equal(await exited, tellsExits ? { code: null, signal: 'SIGTERM' } : null);
  await end();
  assert.is((await refused(watched.signal('SIGTERM'))).code, 'ESRCH');
  await watched.close();
  await watched.close();
});

test('the exit code of a child of another process', [], async () => {
  const { pid, end } = await grandchild('sleep 0.1; exit 42');
  const watched = await HostProcess.open(pid);
  assert.equal(await watched.exited(), tellsExits ? { code: 42, signal: null } : null);
  await watched.close();
  await end();
});

test('an orphan becomes the node’s, which learns its exit and leaves no zombie', [], async () => {
  await setChildSubreaper(true);
  const parent = spawn('/bin/sh', ['-c', 'sh -c "sleep 0.2; exit 7" & echo $!'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const pid = Number(String((await once(parent.stdout, 'data'))[0]));
  const orphan = await HostProcess.open(pid);
  assert.equal(await orphan.exited(), { code: 7, signal: null });
  assert.not(existsSync(`/proc/${pid}`));
  await orphan.close();
  await setChildSubreaper(false);
});

test('a process that has another’s number is not taken for it', [], async () => {
  const child = spawn('/bin/sleep', ['60']);
  const started = await startTimeOf(child.pid!);
  assert.type(started, 'number');
  const same = await HostProcess.open(child.pid!, started!);
  assert.is(same.startTime, started);
  const before = await openFiles();
  assert.is((await refused(HostProcess.open(child.pid!, started! - 1))).code, 'ESRCH');
  await noMoreFilesThan(before);
  assert.is(child.exitCode, null);
  await same.signal('SIGKILL');
  await once(child, 'exit');
  assert.is((await refused(same.signal('SIGKILL'))).code, 'ESRCH');
  await same.close();
  assert.is(await startTimeOf(child.pid!), null);
  const gone = await refused(HostProcess.open(child.pid!, started!));
  assert.is(gone.code, 'ESRCH');
  assert.is(gone.path, String(child.pid));
});

test('whoever stops watching lets the process go on, and a wait ends', [], async () => {
  const child = spawn('/bin/sleep', ['60']);
  const before = await openFiles();
  const watched = await HostProcess.open(child.pid!);
  const exited = watched.exited();
  await watched.close();
  assert.is(await exited, null);
  await noMoreFilesThan(before);
  assert.is(child.exitCode, null);
  child.kill();
  await once(child, 'exit');
});

test('a process that asked for it ends with its parent', [], async () => {
  // A parent of its own: a shell that waits for it. What is orphaned is reaped here.
  await setChildSubreaper(true);
  const itself = [process.execPath, ...process.execArgv, process.argv[1] as string, DIE_WITH_PARENT];
  const parent = spawn('/bin/sh', ['-c', '"$0" "$@" & wait', ...itself], { stdio: ['ignore', 'pipe', 'inherit'] });
  const child = Number(String((await once(parent.stdout, 'data'))[0]));
  const watched = await HostProcess.open(child);
  parent.kill('SIGKILL');
  assert.equal(await watched.exited(), { code: null, signal: 'SIGKILL' });
  assert.not(existsSync(`/proc/${child}`));
  await watched.close();
  await setChildSubreaper(false);
});

if (process.argv[2] === DIE_WITH_PARENT) {
  await setParentDeathSignal('SIGKILL', process.ppid);
  console.log(process.pid);
  setInterval(() => {}, 1000);
} else {
  run();
}

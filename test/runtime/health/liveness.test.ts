import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Liveness } from '../../../runtime/health/liveness.ts';
import type { CheckTarget } from '../../../runtime/health/run-check.ts';

/** A port that is well, ill or cannot be asked, as the test says, and what a watch over it told. */
async function watched(work: (scene: Scene) => Promise<void>): Promise<void> {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const told: string[] = [];
  const scene: Scene = { state: 'well', asked: 0, log: [], told, watch: null as never };
  const target: CheckTarget = {
    async connect() {
      scene.asked++;
      if (scene.state === 'unknown') throw Object.assign(new Error('no descriptor is left'), { code: 'EMFILE' });
      const socket = connect(scene.state === 'well' ? port : 1, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    },
    exec: () => Promise.reject(new Error('not asked for')),
  };
  const check = { kind: 'tcp', port: null } as const;
  const log = (text: string) => void scene.log.push(text);
  scene.watch = new Liveness({ check, target, port, everyMs: 5, log, dead: (why) => told.push(why) });
  try {
    await work(scene);
  } finally {
    scene.watch.close();
    server.close();
  }
}

interface Scene {
  state: 'well' | 'ill' | 'unknown';
  asked: number;
  readonly log: string[];
  readonly told: string[];
  watch: Liveness;
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const more = (scene: Scene, checks: number) => {
  const enough = scene.asked + checks;
  return until(() => scene.asked >= enough);
};

test('three failures in a row are its end, told once; the first of them is in the log', () =>
  watched(async (scene) => {
    await more(scene, 5);
    assert.equal([scene.log, scene.told], [[], []]);
    scene.state = 'ill';
    await until(() => scene.told.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.is(scene.told.length, 1);
    assert.match(scene.told[0]!, /^its live-check failed 3 times in a row: port \d+ takes no connection$/);
    assert.is(scene.log.length, 2);
    assert.match(scene.log[0]!, /^the live-check failed, and is made again in 5 ms: port \d+ takes no connection/);
    assert.match(scene.log[1]!, /^it is ended, since its live-check failed 3 times/);
  }));

test('what could not be asked is no failure, and is in the log once', () =>
  watched(async (scene) => {
    scene.state = 'unknown';
    await more(scene, 10);
    assert.equal(scene.told, []);
    assert.equal(scene.log, ['the live-check could not be made: no descriptor is left']);
  }));

test('nothing is asked while it is suspended, and failures before that do not count after it', () =>
  watched(async (scene) => {
    for (let i = 0; i < 10; i++) {
      scene.state = 'ill';
      await more(scene, 2);
      await scene.watch.suspend();
      const { asked } = scene;
      await new Promise((resolve) => setTimeout(resolve, 30));
      assert.is(scene.asked, asked);
      scene.state = 'well';
      if (scene.told.length > 0) break;
      scene.watch.resume();
      await more(scene, 1);
    }
    assert.equal(scene.told, []);
  }));

test.run();

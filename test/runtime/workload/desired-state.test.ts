import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SkerryError } from '../../../errors/skerry-error.ts';
import { digestOf } from '../../../images/store/index.ts';
import { openStateStore, type StateStore } from '../../../runtime/state/index.ts';
import { type Deploy, DesiredState } from '../../../runtime/workload/desired-state.ts';
import { revisionKey, workloadKey } from '../../../runtime/workload/documents.ts';
import { revisionOf } from '../../../runtime/workload/revision-of.ts';
import type { WorkloadSettings } from '../../../runtime/workload/settings.ts';

const OFFERED = new Set(['wasm'] as const);
const noneCorrupt = (key: string) => assert.unreachable(`${key} is damaged`);

function contentOf(name: string, content: string, settings: WorkloadSettings = {}) {
  const artifact = { digest: digestOf(Buffer.from(content)), mediaType: 'application/wasm' };
  return revisionOf(name, artifact, content, settings, OFFERED);
}

function deployOf(name: string, content: string, settings: WorkloadSettings = {}, expectGeneration?: number) {
  const revision = contentOf(name, content, settings);
  return { name, revision, revisions: [{ revision, percent: 100 }], settings, expectGeneration };
}

/** Content and percent of each revision that shares the traffic. */
function splitOf(name: string, ...shares: [string, number][]): Deploy {
  const revisions = shares.map(([content, percent]) => ({ revision: contentOf(name, content), percent }));
  return { name, revisions, settings: {} };
}

/** Runs `work` over a store on disk; `reopen` is the state as the node finds it at its next start. */
async function withState(
  work: (desired: DesiredState, reopen: () => Promise<DesiredState>, store: () => StateStore) => Promise<void>,
) {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-desired-'));
  let store = await openStateStore(folder);
  try {
    const reopen = async () => {
      await store.close();
      store = await openStateStore(folder);
      return new DesiredState(store, noneCorrupt);
    };
    await work(new DesiredState(store, noneCorrupt), reopen, () => store);
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function refused(code: string, run: () => unknown): Promise<SkerryError> {
  try {
    await run();
  } catch (error) {
    assert.instance(error, SkerryError);
    assert.is((error as SkerryError).code, code);
    return error as SkerryError;
  }
  throw new Error(`it was not refused with ${code}`);
}

test('a first deploy creates the workload, with all traffic on its revision, and survives a restart', () =>
  withState(async (desired, reopen) => {
    const [change] = await desired.deploy([deployOf('hello', 'v1', { routes: ['/api/*'], min: 1 })]);
    assert.is(change!.action, 'create');
    assert.is(change!.before, null);
    assert.is(change!.generation, desired.require('hello').generation);
    const again = (await reopen()).require('hello');
    assert.is(again.generation, change!.generation);
    assert.equal(again.value.routes, ['/api/*']);
    assert.equal(again.value.traffic, [{ revision: again.value.revisions[0], percent: 100 }]);
    assert.is(again.value.scale.min, 1);
  }));

test('the same deploy again changes nothing, not even the generation', () =>
  withState(async (desired) => {
    const [first] = await desired.deploy([deployOf('hello', 'v1', { memory: '32MiB' })]);
    const [second] = await desired.deploy([deployOf('hello', 'v1', { memory: '32MiB' })]);
    assert.is(second!.action, 'unchanged');
    assert.is(second!.generation, first!.generation);
    const [third] = await desired.deploy([deployOf('hello', 'v1', { memory: '64MiB' })]);
    assert.is(third!.action, 'update');
    assert.ok(third!.generation > first!.generation);
    assert.is(desired.require('hello').value.revisions.length, 2, 'other limits make another revision');
  }));

test('the deploy of what a rollback went back to changes nothing: its place in the history stays', () =>
  withState(async (desired) => {
    await desired.deploy([deployOf('hello', 'v1')]);
    await desired.deploy([deployOf('hello', 'v2')]);
    const back = await desired.rollback('hello', undefined);
    const [again] = await desired.deploy([deployOf('hello', 'v1')]);
    assert.is(again!.action, 'unchanged');
    assert.equal(desired.require('hello').value.revisions, back.value.revisions);
  }));

test('a deploy that expects another generation is refused', () =>
  withState(async (desired) => {
    const [first] = await desired.deploy([deployOf('hello', 'v1', {}, 0)]);
    const error = await refused('GENERATION_CONFLICT', () => desired.deploy([deployOf('hello', 'v2', {}, 0)]));
    assert.is(error.status, 409);
    const [second] = await desired.deploy([deployOf('hello', 'v2', {}, first!.generation)]);
    await refused('GENERATION_CONFLICT', () => desired.deploy([deployOf('hello', 'v3', {}, first!.generation)]));
    assert.is(desired.require('hello').generation, second!.generation);
  }));

test('of two deploys at once that expect the same generation, one is refused', () =>
  withState(async (desired) => {
    const results = await Promise.allSettled([
      desired.deploy([deployOf('hello', 'v1', {}, 0)]),
      desired.deploy([deployOf('hello', 'v2', {}, 0)]),
    ]);
    assert.equal(results.map((result) => result.status).sort(), ['fulfilled', 'rejected']);
  }));

test('a rollback goes to the revision before, or to the one named, and can be undone', () =>
  withState(async (desired) => {
    const ids: string[] = [];
    for (const version of ['v1', 'v2', 'v3']) {
      const deploy = deployOf('hello', version);
      await desired.deploy([deploy]);
      ids.push(deploy.revision.id);
    }
    const now = () => desired.require('hello').value.traffic;
    await desired.rollback('hello', undefined);
    assert.equal(now(), [{ revision: ids[1], percent: 100 }]);
    await desired.rollback('hello', undefined);
    assert.equal(now(), [{ revision: ids[0], percent: 100 }]);
    await refused('NO_PREVIOUS_REVISION', () => desired.rollback('hello', undefined));
    await desired.rollback('hello', ids[2]!.slice(0, 6));
    assert.equal(now(), [{ revision: ids[2], percent: 100 }]);
    await refused('NO_REVISION', () => desired.rollback('hello', 'ffffffffffff'));
    await refused('NO_REVISION', () => desired.rollback('hello', ''));
    await refused('NO_WORKLOAD', () => desired.rollback('other', undefined));
  }));

test('traffic is split in whole percents that sum to 100, each revision named once', () =>
  withState(async (desired) => {
    const [one, two] = [deployOf('hello', 'v1'), deployOf('hello', 'v2')];
    await desired.deploy([one]);
    await desired.deploy([two]);
    const [a, b] = [one.revision.id, two.revision.id];
    await desired.traffic('hello', [
      { revision: a.slice(0, 8), percent: 90 },
      { revision: b, percent: 10 },
    ]);
    assert.equal(desired.require('hello').value.traffic, [
      { revision: a, percent: 90 },
      { revision: b, percent: 10 },
    ]);
    const before = desired.require('hello').generation;
    await refused('TRAFFIC_SUM', () => desired.traffic('hello', [{ revision: a, percent: 90 }]));
    await refused('REVISION_TWICE', () =>
      desired.traffic('hello', [
        { revision: a, percent: 50 },
        { revision: a, percent: 50 },
      ]),
    );
    await refused('NO_REVISION', () => desired.traffic('hello', [{ revision: 'ffff', percent: 100 }]));
    assert.is(desired.require('hello').generation, before, 'a refused change changes nothing');
    await desired.traffic('hello', [
      { revision: a, percent: 100 },
      { revision: b, percent: 0 },
    ]);
    assert.equal(desired.require('hello').value.traffic, [{ revision: a, percent: 100 }]);
  }));

test('revisions that share the traffic are deployed in one change, and the same again changes nothing', () =>
  withState(async (desired) => {
    const [v1, v2, v3] = ['v1', 'v2', 'v3'].map((content) => contentOf('hello', content).id) as [
      string,
      string,
      string,
    ];
    const now = () => desired.require('hello').value;
    const actions = async (deploy: Deploy) => (await desired.deploy([deploy])).map(({ action }) => action);
    assert.equal(await actions(splitOf('hello', ['v1', 90], ['v2', 10])), ['create']);
    assert.equal(now().revisions, [v1, v2]);
    assert.equal(now().traffic, [
      { revision: v1, percent: 90 },
      { revision: v2, percent: 10 },
    ]);
    assert.ok(desired.revision('hello', v1) && desired.revision('hello', v2));
    assert.equal(await actions(splitOf('hello', ['v1', 90], ['v2', 10])), ['unchanged']);
    assert.equal(await actions(splitOf('hello', ['v2', 10], ['v1', 90])), ['unchanged'], 'in any order');
    assert.equal(await actions(splitOf('hello', ['v2', 90], ['v3', 10])), ['update']);
    assert.equal(now().revisions, [v1, v2, v3]);
    await desired.rollback('hello', undefined);
    assert.equal(now().traffic, [{ revision: v1, percent: 100 }]);
    await desired.deploy([splitOf('hello', ['v2', 50], ['v3', 50])]);
    await desired.rollback('hello', undefined);
    assert.equal(now().traffic, [{ revision: v2, percent: 100 }], 'of equal shares it goes back from the newest');
  }));

test('shares that sum to another number than 100, or a revision given twice, change nothing', () =>
  withState(async (desired) => {
    await refused('TRAFFIC_SUM', () => desired.deploy([splitOf('hello', ['v1', 90], ['v2', 20])]));
    const twice = await refused('REVISION_TWICE', () => desired.deploy([splitOf('hello', ['v1', 50], ['v1', 50])]));
    assert.match(twice.what, new RegExp(`${contentOf('hello', 'v1').id} of hello`));
    assert.is(desired.get('hello'), null);
  }));

test('a scale keeps what it does not name and refuses a minimum above the maximum', () =>
  withState(async (desired) => {
    await desired.deploy([deployOf('hello', 'v1', { idle: '5s' })]);
    await desired.scale('hello', 2, undefined);
    assert.equal(desired.require('hello').value.scale, { min: 2, max: 10, idleMs: 5000 });
    await refused('SCALE_ORDER', () => desired.scale('hello', undefined, 1));
    await refused('SCALE_ORDER', () => desired.deploy([deployOf('hello', 'v2', { max: 1 })]));
    await desired.deploy([deployOf('hello', 'v2')]);
    assert.equal(desired.require('hello').value.scale, { min: 2, max: 10, idleMs: 5000 }, 'a deploy keeps the scale');
    const before = desired.require('hello').generation;
    await desired.scale('hello', 2, 10);
    assert.is(desired.require('hello').generation, before, 'the same scale is no change');
  }));

test('a removed workload is gone with all its revisions and routes, and its name goes on above its old generation', () =>
  withState(async (desired, reopen, store) => {
    await desired.deploy([deployOf('hello', 'v1', { routes: ['/api'] })]);
    const [change] = await desired.deploy([deployOf('hello', 'v2', { routes: ['/api'] })]);
    const revisions = desired.require('hello').value.revisions;
    await desired.remove('hello');
    assert.is(desired.get('hello'), null);
    for (const id of revisions) assert.is(store().get(revisionKey('hello', id)), null);
    await refused('NO_WORKLOAD', () => desired.remove('hello'));
    await desired.deploy([deployOf('other', 'v1', { routes: ['/api'] })]);
    const [again] = await desired.deploy([deployOf('hello', 'v1')]);
    assert.ok(again!.generation > change!.generation, 'an old client is not mistaken for a new one');
    assert.equal(
      (await reopen()).list().map(({ value }) => value.name),
      ['hello', 'other'],
    );
  }));

test('ten revisions are kept, the oldest forgotten first, and no artifact of theirs is held', () =>
  withState(async (desired, _reopen, store) => {
    const deploys = Array.from({ length: 14 }, (_, i) => deployOf('hello', `v${i}`));
    for (const deploy of deploys) await desired.deploy([deploy]);
    const kept = desired.require('hello').value.revisions;
    assert.equal(
      kept,
      deploys.slice(-10).map((deploy) => deploy.revision.id),
    );
    assert.is(store().list(`revision/hello/`).length, 10);
    assert.is(desired.artifacts(noneCorrupt).size, 10);
    // An old one that is deployed again is the newest.
    await desired.deploy([deployOf('hello', 'v4')]);
    assert.is(desired.require('hello').value.revisions.at(-1), deploys[4]!.revision.id);
    await desired.deploy([deployOf('hello', 'v99')]);
    assert.not(desired.require('hello').value.revisions.includes(deploys[5]!.revision.id));
    assert.ok(desired.require('hello').value.revisions.includes(deploys[4]!.revision.id));
  }));

test('a route belongs to one workload: a clash is refused and names the owner', () =>
  withState(async (desired) => {
    await desired.deploy([deployOf('shop', 'v1', { routes: ['/cart', 'shop.example/*'] })]);
    for (const route of ['/cart', 'shop.example/*', '/shop', '/shop/*', 'shop.localhost/*']) {
      const error = await refused('ROUTE_CLASH', () => desired.deploy([deployOf('other', 'v1', { routes: [route] })]));
      assert.match(error.what, /belongs to shop/, route);
      assert.is(error.status, 409);
    }
    assert.is(desired.get('other'), null);
    await refused('ROUTE_CLASH', () =>
      desired.deploy([deployOf('a', 'v1', { routes: ['/b/*'] }), deployOf('b', 'v1')]),
    );
    await desired.deploy([deployOf('other', 'v1', { routes: ['/cart/x', '/cart/', 'other.example/cart'] })]);
  }));

test('a route may pass from one workload to another in one change, whichever of them comes first', () =>
  withState(async (desired) => {
    await desired.deploy([deployOf('old', 'v1', { routes: ['/api/*'] }), deployOf('new', 'v1')]);
    await desired.deploy([deployOf('new', 'v1', { routes: ['/api/*'] }), deployOf('old', 'v1')]);
    await refused('ROUTE_CLASH', () => desired.deploy([deployOf('third', 'v1', { routes: ['/api/*'] })]));
    await desired.deploy([deployOf('new', 'v1'), deployOf('old', 'v1', { routes: ['/api/*'] })]);
    await refused('ROUTE_CLASH', () => desired.deploy([deployOf('third', 'v1', { routes: ['/api/*'] })]));
  }));

test("a route within another workload's default route is accepted and told, whichever of them comes first", () =>
  withState(async (desired) => {
    const told = (name: string) =>
      desired.shadowings(name).map(({ route, owner, shadowed, of }) => `${route} of ${owner} in ${shadowed} of ${of}`);
    const routes = ['/b/x', 'b.localhost/y/*', 'other.example/b/*', '/a/own', '/bb/x', '/*', 'b.example/*', '/none/x'];
    const [first] = await desired.deploy([deployOf('a', 'v1', { routes })]);
    assert.equal(first!.shadowings, []);
    const [second] = await desired.deploy([deployOf('b', 'v1')]);
    const expected = [
      '/b/x of a in /b/* of b',
      'b.localhost/y/* of a in b.localhost/* of b',
      'other.example/b/* of a in /b/* of b',
    ];
    assert.equal(told('a'), expected);
    assert.equal(told('b'), expected);
    assert.equal(second!.shadowings, desired.shadowings('b'));
    const [planned] = desired.plan([deployOf('c', 'v1', { routes: ['/b/x/y'] })]);
    assert.is(planned!.shadowings[0]!.of, 'b');
    assert.equal(told('c'), [], 'it was only planned');
    await desired.remove('b');
    assert.equal(told('a'), []);
  }));

test('a file of many workloads is deployed whole or not at all', () =>
  withState(async (desired) => {
    await desired.deploy([deployOf('taken', 'v1', { routes: ['/x'] })]);
    const list = () => desired.list().map(({ value }) => value.name);
    await refused('ROUTE_CLASH', () =>
      desired.deploy([deployOf('a', 'v1'), deployOf('b', 'v1', { routes: ['/x'] }), deployOf('c', 'v1')]),
    );
    await refused('SCALE_ORDER', () => desired.deploy([deployOf('a', 'v1'), deployOf('b', 'v1', { min: 5, max: 2 })]));
    assert.equal(list(), ['taken']);
    const changes = await desired.deploy([deployOf('a', 'v1'), deployOf('taken', 'v1', { routes: ['/x'] })]);
    assert.equal(
      changes.map(({ action }) => action),
      ['create', 'unchanged'],
    );
    assert.equal(list(), ['a', 'taken']);
  }));

test('a plan says what a deploy would do, and does nothing', () =>
  withState(async (desired) => {
    await desired.deploy([deployOf('a', 'v1')]);
    const plan = desired.plan([deployOf('a', 'v2'), deployOf('b', 'v1')]);
    assert.equal(
      plan.map(({ name, action }) => [name, action]),
      [
        ['a', 'update'],
        ['b', 'create'],
      ],
    );
    assert.is(desired.get('b'), null);
    assert.is(desired.require('a').value.revisions.length, 1);
  }));

test('whoever watches hears the names that changed, after the change can be read', () =>
  withState(async (desired) => {
    const heard: string[][] = [];
    desired.watch((names) => {
      for (const name of names) if (name !== 'gone') assert.ok(desired.get(name), `${name} can be read`);
      heard.push([...names].sort());
    });
    await desired.deploy([deployOf('a', 'v1'), deployOf('b', 'v1')]);
    await desired.scale('a', 1, undefined);
    assert.equal(heard, [['a', 'b'], ['a']]);
  }));

test('changes made at the same time all take effect', () =>
  withState(async (desired) => {
    await Promise.all(Array.from({ length: 20 }, (_, i) => desired.deploy([deployOf(`w${i}`, 'v1')])));
    await Promise.all(Array.from({ length: 20 }, (_, i) => desired.scale(`w${i}`, 1, i + 1)));
    assert.equal(
      desired
        .list()
        .map(({ value }) => value.scale.max)
        .sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
  }));

test('a change that another writer has overtaken is refused and leaves the memory as the disk', () =>
  withState(async (desired, _reopen, store) => {
    await desired.deploy([deployOf('hello', 'v1')]);
    const document = desired.require('hello');
    // Not by way of DesiredState: as a replicating fleet would.
    await store().commit([
      { key: workloadKey('hello'), expect: document.generation, value: { ...document.value, queue: 7 } },
    ]);
    assert.is(desired.require('hello').value.queue, 7);
    await desired.scale('hello', 1, undefined);
    assert.is(desired.require('hello').value.queue, 7);
  }));

test.run();

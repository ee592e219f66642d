import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RouteTable } from '../../gateway/router/route-table.ts';
import { parsePreviewHost, previewHost, routeKey, routesOf } from '../../runtime/workload/routes.ts';

const table = (...routes: [string, string][]) =>
  new RouteTable(routes.map(([route, workload]) => ({ route, workload, stripPrefix: '' })));

test('an exact path wins over a prefix, a longer prefix over a shorter one', () => {
  const routes = table(['/*', 'all'], ['/a/*', 'a'], ['/a/b/*', 'ab'], ['/a/b', 'exact'], ['/a/b/c', 'deep']);
  const at = (path: string) => routes.match('any.example', path)?.workload;
  assert.is(at('/'), 'all');
  assert.is(at('/x'), 'all');
  assert.is(at('/ab'), 'all', 'a prefix ends at a slash');
  assert.is(at('/a'), 'a', 'a prefix covers its own root');
  assert.is(at('/a/'), 'a');
  assert.is(at('/a/x'), 'a');
  assert.is(at('/a/b'), 'exact');
  assert.is(at('/a/b/'), 'ab');
  assert.is(at('/a/b/c'), 'deep');
  assert.is(at('/a/b/c/d'), 'ab');
});

test('a route with a host wins over one without, however much shorter its path is', () => {
  const routes = table(
    ['/a/b/c', 'any'],
    ['shop.example/*', 'shop'],
    ['shop.example/only', 'only'],
    ['other.example/x', 'x'],
  );
  assert.is(routes.match('shop.example', '/a/b/c')?.workload, 'shop');
  assert.is(routes.match('shop.example', '/only')?.workload, 'only');
  assert.is(routes.match('another.example', '/a/b/c')?.workload, 'any');
  assert.is(routes.match('other.example', '/a/b/c')?.workload, 'any', 'a host without that path falls through');
});

test('an exact path fits only itself', () => {
  const routes = table(['/a', 'a'], ['/', 'root']);
  assert.is(routes.match('h', '/a')?.workload, 'a');
  assert.is(routes.match('h', '/a/'), null);
  assert.is(routes.match('h', '/a/b'), null);
  assert.is(routes.match('h', '/A'), null);
  assert.is(routes.match('h', '/%61'), null, 'escapes are not undone');
  assert.is(routes.match('h', '/')?.workload, 'root');
  assert.is(routes.match('h', '*'), null);
  assert.is(routes.match('h', ''), null);
});

test('a thousand workloads with three routes each are all found, and nothing else', () => {
  const entries = Array.from({ length: 1000 }, (_, i) => routesOf(`w${i}`, [`/api/v${i}/*`])).flat();
  const routes = new RouteTable(entries);
  for (let i = 0; i < 1000; i++) {
    assert.is(routes.match('x', `/w${i}/a/b/c`)?.workload, `w${i}`);
    assert.is(routes.match('x', `/w${i}/a`)?.stripPrefix, `/w${i}`);
    assert.is(routes.match(`w${i}.localhost`, '/w7/anything')?.workload, `w${i}`);
    assert.is(routes.match('x', `/api/v${i}`)?.workload, `w${i}`);
  }
  assert.is(routes.match('x', '/w1000/a'), null);
  assert.is(routes.match('x', '/api'), null);
});

test('a preview host names one revision of one workload', () => {
  assert.is(previewHost('shop', '0123456789ab'), '0123456789ab--shop.localhost');
  assert.equal(parsePreviewHost('0123456789ab--my-shop.localhost'), { revision: '0123456789ab', workload: 'my-shop' });
  for (const host of [
    'shop.localhost',
    '0123456789ab--shop.example',
    '0123456789--shop.localhost',
    'x--shop.localhost',
  ]) {
    assert.is(parsePreviewHost(host), null, host);
  }
});

test('a prefix and its own root are one claim; a path and the same path with a slash are two', () => {
  assert.is(routeKey('/a/*'), routeKey('/a'));
  assert.is.not(routeKey('/a/'), routeKey('/a'));
  assert.is.not(routeKey('/*'), routeKey('/'));
  assert.is.not(routeKey('h.example/a'), routeKey('/a'));
});

test.run();

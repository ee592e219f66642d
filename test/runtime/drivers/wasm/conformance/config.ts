import * as assert from 'uvu/assert';
import { ask, type Bench } from './bench.ts';

export function config(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: wasi:config`);

  test('a function reads its configuration, by name and as a whole', async () => {
    const values = { MODE: 'test', API_KEY: 'hunter2 "é€"', EMPTY: '' };
    const { fn } = await bench.load('services', { config: values });
    const said = async (target: string) => (await ask(fn, { target })).body.toString();
    assert.equal(JSON.parse(await said('/config')), values);
    assert.is(await said('/config/API_KEY'), 'hunter2 "é€"');
    assert.is(await said('/config/EMPTY'), '');
    assert.is(await said('/config/MISSING'), 'none');
    await fn.close();
  });

  test('the configuration is not the environment', async () => {
    const { fn } = await bench.load('behaviours', { config: { API_KEY: 'hunter2' }, env: { MODE: 'test' } });
    const seen = JSON.parse((await ask(fn, { target: '/env' })).body.toString());
    assert.equal(seen.env, { MODE: 'test' });
    await fn.close();
  });

  test('two functions from one component have their own configurations', async () => {
    const one = await bench.load('services', { config: { WHO: 'one' } });
    const two = await bench.load('services', { config: { WHO: 'two' } });
    const who = async ({ fn }: typeof one) => (await ask(fn, { target: '/config/WHO' })).body.toString();
    assert.equal(await Promise.all([who(one), who(two)]), ['one', 'two']);
    await one.fn.close();
    await two.fn.close();
  });

  test.run();
}

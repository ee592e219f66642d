/** A small JSON API: Hono routes the requests inside the sandbox. */
import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';

const app = new Hono();

app.get('/', (c) => c.text('Hello from Hono! Try /convert/20\n'));

app.get('/convert/:celsius', (c) => {
  const celsius = Number(c.req.param('celsius'));
  if (Number.isNaN(celsius)) throw new HTTPException(400, { message: 'that is no temperature' });
  return c.json({ celsius, fahrenheit: (celsius * 9) / 5 + 32 });
});

app.post('/sum', async (c) => {
  const numbers = await c.req.json();
  return c.json({ sum: numbers.reduce((sum, number) => sum + number, 0) });
});

export default app;

import { Hono } from 'hono';

const app = new Hono<{ Bindings: { GREETING: string } }>();

app.get('/users/:name', (context) => {
  const name = context.req.param('name');
  const shown = context.req.query('shout') ? name.toUpperCase() : name;
  return context.json({ greeting: `${context.env.GREETING} ${shown}` });
});

export default app;

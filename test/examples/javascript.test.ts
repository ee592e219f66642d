import { testExamples } from '../support/language-examples.ts';

await testExamples('examples in TypeScript and JavaScript', [
  { name: 'hello', says: 'Hello from Skerry! You asked for /\n', answers: [] },
  {
    name: 'hono',
    says: '{"celsius":20,"fahrenheit":68}',
    answers: [
      { path: '/sum', body: '[1,2,3]', answer: '{"sum":6}' },
      { path: '/nowhere', body: '', answer: '404 Not Found' },
    ],
  },
]);

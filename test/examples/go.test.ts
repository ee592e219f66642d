import { longText, testExamples } from '../support/language-examples.ts';

// More than its memory limit: the collector that it calls by itself gives back what has gone through.
const large = longText.repeat(90);

await testExamples('the example in Go', [
  {
    name: 'go',
    says: 'hello',
    answers: [
      { path: '/', body: longText, answer: longText },
      { path: '/', body: large, answer: large },
    ],
  },
]);

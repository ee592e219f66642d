import { testExamples } from '../support/language-examples.ts';

await testExamples('the example in Python', [
  {
    name: 'python',
    says: '{"to": 2, "be": 2, "or": 1, "not": 1}\n',
    answers: [{ path: '/', body: 'The dog. '.repeat(20_000), answer: '{"The": 20000, "dog.": 20000}\n' }],
  },
]);

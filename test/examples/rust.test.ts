import { longText, testExamples } from '../support/language-examples.ts';

await testExamples('examples in Rust', [
  { name: 'rust', says: 'hello', answers: [{ path: '/', body: longText, answer: longText }] },
  {
    name: 'rust-p3',
    says: 'HELLO',
    answers: [{ path: '/', body: longText, answer: longText.toUpperCase() }],
    refusedByJco: 'ENGINE_LACKS_P3',
  },
]);

/*
 * The engine tells every failure of a request in the same words. Why it failed is known to the node alone, which writes it
 * to the function's log; here the error says where to look, and for which request.
 */
const send = globalThis.fetch;
const unexplained = /^NetworkError/;

function originOf(resource) {
  return new URL((resource instanceof Request ? resource : new Request(resource)).url).origin;
}

globalThis.fetch = async function fetch(resource, ...init) {
  try {
    return await send(resource, ...init);
  } catch (error) {
    if (!(error instanceof TypeError && unexplained.test(error.message))) throw error;
    const why = 'it is not on the allow-list of the function (--allow HOST[:PORT]), or it cannot be reached';
    throw new TypeError(`${originOf(resource)} was not fetched: ${why}; the log of the function says which`, {
      cause: error,
    });
  }
};

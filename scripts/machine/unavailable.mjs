/** What a machine to test in needs and this one cannot give: a reason to skip, not to fail. */
export class Unavailable extends Error {}

/** Control characters, and what stands for an end of a line. */
const UNSHOWN = /[\p{Cc}\p{Zl}\p{Zp}\s]+/gu;

/** The end of what a workload wrote, as a part of a message: at most `most` characters, in one line. */
export function endInOneLine(text: string, most: number): string {
  return text.replace(UNSHOWN, ' ').trim().slice(-most);
}

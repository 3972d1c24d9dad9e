/** The words in what somebody pasted or typed: numbers, commas and other signs between them say nothing. */
export function wordsIn(text: string): string[] {
  return text.toLowerCase().match(/\p{L}+/gu) ?? [];
}

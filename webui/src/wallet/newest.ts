// The newest lines of the wallet's journal, of pages that fit together.
import type { History } from '../api/types';

type Ask = (skip: number, limit: number) => Promise<History>;

/** The `wanted` newest lines. What is written between two pages moves them, so that a line would be there twice: they are asked for anew then. */
export async function newest(wanted: number, ask: Ask): Promise<History> {
  for (;;) {
    let { lines, more } = await ask(0, wanted);
    const [first] = lines;
    if (!more || lines.length >= wanted) return { lines, more };
    while (more && lines.length < wanted) {
      const page = await ask(lines.length, wanted - lines.length);
      if (page.lines.length === 0) break;
      lines = [...lines, ...page.lines];
      more = page.more;
    }
    const now = (await ask(0, 1)).lines[0];
    if (now && first && now.reference === first.reference && now.kind === first.kind && now.at === first.at) return { lines, more };
  }
}

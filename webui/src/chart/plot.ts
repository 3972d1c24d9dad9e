// uPlot, dressed in the page's colours. Loaded when the first chart is shown. What no chart here asks of it is
// not built in: see lean.ts.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { language } from '../i18n/index.svelte';
import { bytes, count } from '../lib/format';
import { colour } from '../lib/theme.svelte';

export type Plot = uPlot;
declare const VERSION: string;
export const version = VERSION;
const font = '12px system-ui, sans-serif';

function axis(more: Partial<uPlot.Axis> = {}): uPlot.Axis {
  const [muted, line] = [colour('--muted'), colour('--line')];
  return { stroke: muted, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, gap: 6, ...more };
}

/** Steps of an axis of bytes: powers of two, so that labels are round. */
const doublings = Array.from({ length: 50 }, (_, i) => 2 ** i);

/** Steps of an axis of time, in seconds. */
const moments = [1, 5, 10, 15, 30, 60, 120, 300, 600];

/** Without the zeros behind the point that say nothing at a line of the grid. */
const size = (value: number): string => bytes(value).replace(/\.0+ /, ' ');

const clock = (values: number[]): string[] => {
  const format = new Intl.DateTimeFormat(language(), { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  return values.map((value) => format.format(value * 1000));
};

/** Rates over time: bytes a second on the left, units a second on the right. */
export function rates(element: HTMLElement, width: number, height: number, labels: { down: string; up: string; paid: string; earned: string; units: string }): uPlot {
  const [down, up, money] = [colour('--down'), colour('--up'), colour('--money')];
  const fill = (value: string): string => value.replace('rgb(', 'rgba(').replace(')', ', 0.12)');
  const narrow = width < 480;
  const top = (_: uPlot, __: number, most: number): [number, number] => [0, Math.max(1, most * 1.08)];
  return new uPlot(
    {
      width,
      height,
      legend: { show: false },
      cursor: { points: { size: 6 }, y: false, drag: { x: false, y: false } },
      scales: { x: { time: false }, y: { range: (u, _, most) => top(u, 0, Math.max(most, 16_384)) }, units: { range: top } },
      axes: [
        axis({ incrs: moments, values: (_, splits) => clock(splits), space: 90, size: 28, grid: { show: false } }),
        axis({ size: 78, incrs: doublings, values: (_, splits) => splits.map((value) => (value === 0 ? '' : `${size(value)}/s`)) }),
        axis({ scale: 'units', side: 1, size: narrow ? 36 : 40, label: labels.units, labelSize: 18, labelFont: font, grid: { show: false }, values: (_, splits) => splits.map((value) => (value === 0 || value % 1 !== 0 ? '' : count(value, language()))) }),
      ],
      series: [
        {},
        { label: labels.down, stroke: down, width: 1.5, fill: fill(down), points: { show: false } },
        { label: labels.up, stroke: up, width: 1.5, fill: fill(up), points: { show: false } },
        { label: labels.paid, scale: 'units', stroke: money, width: 1.5, dash: [5, 4], points: { show: false } },
        { label: labels.earned, scale: 'units', stroke: up, width: 1.5, dash: [2, 3], points: { show: false } },
      ],
    },
    [[], [], [], [], []],
    element,
  );
}

/** Bars with a label each; bytes on an axis of their own where they are known, joined, for the bars follow each other. */
export function bars(element: HTMLElement, width: number, height: number, names: string[], units: number[], sizes: (number | null)[], tone: '--up' | '--money'): uPlot {
  const [main, other, ground] = [colour(tone), colour('--down'), colour('--surface')];
  const hasBytes = sizes.some((size) => size !== null && size > 0);
  // Room for the longest name; a letter of Korean is wider than one of English.
  const widest = Math.max(...names.map((name) => [...name].reduce((sum, letter) => sum + (letter > '\u1100' ? 13 : 7), 14)));
  const most = Math.max(1, Math.floor((width - (hasBytes ? 124 : 58)) / widest));
  const every = Math.ceil(names.length / most);
  return new uPlot(
    {
      width,
      height,
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: false, range: () => [-0.6, names.length - 0.4] },
        y: { range: (_, __, high) => [0, Math.max(1, high * 1.1)] },
        bytes: { range: (_, __, high) => [0, Math.max(1, high * 1.1)] },
      },
      axes: [
        axis({ size: 28, splits: () => names.map((_, i) => i).filter((i) => i % every === 0), values: (_, splits) => splits.map((i) => names[i] ?? ''), grid: { show: false } }),
        axis({ size: 58, values: (_, splits) => splits.map((value) => (value % 1 === 0 ? count(value, language()) : '')) }),
        ...(hasBytes ? [axis({ scale: 'bytes', side: 1, size: 66, incrs: doublings, grid: { show: false }, values: (_: uPlot, splits: number[]) => splits.map((value) => (value === 0 ? '' : size(value))) })] : []),
      ],
      series: [
        {},
        { stroke: main, fill: main, width: 0, paths: uPlot.paths.bars?.({ size: [0.62, 56], radius: 0.15 }) as uPlot.Series.PathBuilder, points: { show: false } },
        ...(hasBytes ? [{ scale: 'bytes', stroke: other, width: 1.5, points: { show: true, size: 9, width: 2, fill: other, stroke: ground } } as uPlot.Series] : []),
      ],
    },
    hasBytes ? [names.map((_, i) => i), units, sizes] : [names.map((_, i) => i), units],
    element,
  );
}

/** Comma-separated text as RFC 4180 has it, with "\n" line ends and numbers in full precision. */
export type CsvCell = string | number | boolean;

export function csv(header: readonly string[], rows: readonly (readonly CsvCell[])[]): string {
  return [header, ...rows].map((row) => row.map(cell).join(',') + '\n').join('');
}

function cell(value: CsvCell): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

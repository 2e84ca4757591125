/** What does not stop the work but should be known, by way of Node's warnings: a program may listen for them, the command line says them. */
export const warningName = 'LetheWarning';

export function warn(text: string): void {
  process.emitWarning(text, warningName);
}

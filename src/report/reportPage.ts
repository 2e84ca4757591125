/** The page of a report, in its folder: all else hangs on it. */
export const reportPage = 'index.html';

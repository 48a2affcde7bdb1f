/** This program's version, as `--version`, logs and metrics tell it. */
export const version = "0.1.0";

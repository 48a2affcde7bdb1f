/** Every sequence that some server has taken for the end of a message, and their neighbours. */
export const smuggling = [
  "\n.\n",
  "\n.\r\n",
  "\r.\r",
  "\r\n.\n",
  "\r\n.\r",
  "\n.\r",
  "\r.\r\n",
  "\r.\n",
  "\r\n.\0\r\n",
  "\r\r\n.\r\r\n",
  "\r\n.\r\r\n",
  "\r\r\n.\r\n ",
  "\n\n.\r\n",
  "\n.\n\n",
  "\r\n\r.\r\n",
];

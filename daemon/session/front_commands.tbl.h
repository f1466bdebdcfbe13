/* SPDX-License-Identifier: Apache-2.0
 * SMTP commands: COMMAND(VERB, what it needs and does, handler). Handlers never check again what a flag says.
 *   HELO   only after EHLO or HELO            MAIL  only inside a transaction
 *   EDGE   verdicts before it must be in      JUNK  counts as a command without mail, but the first HELLO
 *   HELLO  greets
 */
COMMAND(UNKNOWN, EDGE, cmd_unknown)
COMMAND(EHLO, EDGE | JUNK | HELLO, cmd_ehlo)
COMMAND(HELO, EDGE | JUNK | HELLO, cmd_helo)
COMMAND(MAIL, HELO | EDGE, cmd_mail)
COMMAND(RCPT, HELO | MAIL, cmd_rcpt)
COMMAND(DATA, HELO | MAIL | EDGE, cmd_data)
COMMAND(RSET, EDGE | JUNK, cmd_rset)
COMMAND(NOOP, EDGE | JUNK, cmd_noop)
COMMAND(VRFY, EDGE | JUNK, cmd_vrfy)
COMMAND(HELP, EDGE | JUNK, cmd_help)
COMMAND(QUIT, EDGE, cmd_quit)
COMMAND(EXPN, EDGE | JUNK, cmd_not_here)
COMMAND(ETRN, EDGE | JUNK, cmd_not_here)
COMMAND(TURN, EDGE | JUNK, cmd_not_here)
COMMAND(STARTTLS, EDGE | JUNK, cmd_not_here)
COMMAND(AUTH, EDGE | JUNK, cmd_not_here)
COMMAND(BDAT, EDGE, chunk_begin)

/* SPDX-License-Identifier: Apache-2.0
 * SMTP commands: COMMAND(VERB, what it needs and does, handler). Handlers never check again what a flag says.
 *   HELO   only after EHLO or HELO            MAIL  only inside a transaction
 *   EDGE   verdicts before it must be in      JUNK  counts as a command without mail, but the first HELLO
 *   HELLO  greets                             SECURE only under TLS where the listener requires it (RFC 3207 4)
 *   KNOWN  only after AUTH where the listener requires it (RFC 4954 6)
 */
COMMAND(UNKNOWN, EDGE, cmd_unknown)
COMMAND(EHLO, EDGE | JUNK | HELLO, cmd_ehlo)
COMMAND(HELO, EDGE | JUNK | HELLO, cmd_helo)
COMMAND(MAIL, HELO | EDGE | SECURE | KNOWN, cmd_mail)
COMMAND(RCPT, HELO | MAIL, cmd_rcpt)
COMMAND(DATA, HELO | MAIL | EDGE, cmd_data)
COMMAND(RSET, EDGE | JUNK, cmd_rset)
COMMAND(NOOP, EDGE | JUNK, cmd_noop)
COMMAND(VRFY, EDGE | JUNK | SECURE | KNOWN, cmd_vrfy)
COMMAND(HELP, EDGE | JUNK, cmd_help)
COMMAND(QUIT, EDGE, cmd_quit)
COMMAND(EXPN, EDGE | JUNK, cmd_not_here)
COMMAND(ETRN, EDGE | JUNK, cmd_not_here)
COMMAND(TURN, EDGE | JUNK, cmd_not_here)
COMMAND(STARTTLS, HELO | EDGE | JUNK, cmd_starttls)
COMMAND(AUTH, HELO | EDGE | SECURE, front_auth_command)
COMMAND(BDAT, EDGE, chunk_begin)

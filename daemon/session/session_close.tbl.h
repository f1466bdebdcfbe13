/* SPDX-License-Identifier: Apache-2.0
 * Why a session ends: CLOSE(ID, name in the log, reply code or 0, enhanced code, text, log level).
 */
CLOSE(QUIT, "quit", 0, "", "", LOG_LEVEL_DEBUG)
CLOSE(CLIENT_GONE, "client_gone", 0, "", "", LOG_LEVEL_DEBUG)
CLOSE(EARLY, "early_talker", 554, "5.5.0", "you spoke before the greeting", LOG_LEVEL_INFO)
CLOSE(TLS_FAILED, "tls_failed", 0, "", "", LOG_LEVEL_INFO)
CLOSE(TLS_TIMEOUT, "tls_timeout", 0, "", "", LOG_LEVEL_INFO)
CLOSE(TLS_INJECTION, "plaintext_behind_starttls", 554, "5.5.0", "nothing may follow STARTTLS before the handshake",
      LOG_LEVEL_NOTICE)
CLOSE(IDLE, "idle_timeout", 421, "4.4.2", "idle for too long", LOG_LEVEL_INFO)
CLOSE(COMMAND_TIMEOUT, "command_timeout", 421, "4.4.2", "the command took too long", LOG_LEVEL_INFO)
CLOSE(BODY_TIMEOUT, "body_timeout", 421, "4.4.2", "no data for too long", LOG_LEVEL_INFO)
CLOSE(TOO_SLOW, "min_data_rate", 421, "4.4.2", "data arrives too slowly", LOG_LEVEL_INFO)
CLOSE(ERRORS, "too_many_errors", 421, "4.7.0", "too many errors", LOG_LEVEL_INFO)
CLOSE(JUNK, "too_many_junk_commands", 421, "4.7.0", "too many commands without mail", LOG_LEVEL_INFO)
CLOSE(OUT_OF_STEP, "out_of_step", 421, "4.7.0", "what follows cannot be told from commands", LOG_LEVEL_INFO)
CLOSE(HTTP, "http", 421, "4.7.0", "this is a mail server", LOG_LEVEL_INFO)
CLOSE(TOO_BIG, "message_too_big", 421, "4.3.4", "message far too big", LOG_LEVEL_INFO)
CLOSE(DRAINING, "draining", 421, "4.3.2", "service shutting down, try again", LOG_LEVEL_DEBUG)
CLOSE(REMOVED, "listener_removed", 421, "4.3.2", "service closed here", LOG_LEVEL_DEBUG)
CLOSE(KILLED, "killed", 421, "4.3.2", "ended by the administrator", LOG_LEVEL_NOTICE)
CLOSE(GRACE_OVER, "grace_over", 421, "4.3.2", "service shutting down", LOG_LEVEL_NOTICE)

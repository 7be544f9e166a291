# SPDX-License-Identifier: GPL-3.0-or-later
# Runs nvcc (COMMAND, a list) and keeps what it says, ptxas' use of registers and memory above all, in LOG, for a test to read.
execute_process(COMMAND ${COMMAND} RESULT_VARIABLE result OUTPUT_VARIABLE said ERROR_VARIABLE said)
file(WRITE ${LOG} "${said}")
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${said}")
endif()

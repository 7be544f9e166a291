# SPDX-License-Identifier: GPL-3.0-or-later
include(GNUInstallDirs)
install(TARGETS nibblescope-cli)
install(FILES ${CMAKE_SOURCE_DIR}/resources/nibblescope-cli.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
if(TARGET nibblescope)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/resources/sample DESTINATION ${CMAKE_INSTALL_DATADIR}/nibblescope)
  install(TARGETS nibblescope)
  install(FILES ${CMAKE_SOURCE_DIR}/resources/nibblescope.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${CMAKE_SOURCE_DIR}/resources/nibblescope.desktop DESTINATION ${CMAKE_INSTALL_DATADIR}/applications)
  install(FILES ${CMAKE_SOURCE_DIR}/resources/nibblescope.metainfo.xml DESTINATION ${CMAKE_INSTALL_DATADIR}/metainfo)
  install(FILES ${CMAKE_SOURCE_DIR}/resources/nibblescope.mime.xml DESTINATION ${CMAKE_INSTALL_DATADIR}/mime/packages
          RENAME nibblescope.xml)
  install(FILES ${CMAKE_SOURCE_DIR}/resources/nibblescope.svg DESTINATION ${CMAKE_INSTALL_DATADIR}/icons/hicolor/scalable/apps)
endif()

# What is installed where, the man pages, and the Debian packages: `cpack -G DEB`.
#
#   cfsgate          daemon, command, units, configuration, man pages, completion, documentation
#   cfsgate-pmxcfs   the same daemon as `pmxcfs` and `pve-cluster.service`, docs/package.md
include(GNUInstallDirs)
set(CFSGATE_PACKAGE_RELEASE 1 CACHE STRING "Debian revision of the packages")
set(CFSGATE_MAINTAINER "cfsgate maintainers <cfsgate@localhost.localdomain>" CACHE STRING
  "Maintainer of the packages: NAME <ADDRESS>")

set(unit_folder lib/systemd/system)
set(generated ${PROJECT_BINARY_DIR}/etc)

# --- Units: one text, two names ---

function(cfsgate_unit name program description)
  cmake_parse_arguments(ARG "" "OTHER;AFTER;WANTS" "" ${ARGN})
  set(unit_other ${ARG_OTHER})
  set(unit_program ${program})
  set(unit_after "${ARG_AFTER}")
  set(unit_wants "${ARG_WANTS}")
  set(unit_description "${description}")
  configure_file(${PROJECT_SOURCE_DIR}/etc/cfsgated.service.in ${generated}/${name} @ONLY)
endfunction()

# Ordered in one direction, which lets either wait until the other has stopped.
cfsgate_unit(cfsgated.service cfsgated "Replicated configuration file system (cfsgate)"
  OTHER pve-cluster.service AFTER " pve-cluster.service")
cfsgate_unit(pve-cluster.service pmxcfs "Replicated configuration file system (cfsgate as pmxcfs)"
  OTHER cfsgated.service WANTS " corosync.service rrdcached.service")

install(TARGETS cfsgated cfsgate RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT cfsgate)
# srv-pve.mount is not enabled: whoever wants the mount enables it.
install(FILES ${generated}/cfsgated.service etc/srv-pve.mount
  DESTINATION ${unit_folder} COMPONENT cfsgate)
install(FILES etc/cfsgate.tmpfiles DESTINATION lib/tmpfiles.d RENAME cfsgate.conf COMPONENT cfsgate)
install(FILES etc/cfsgate.conf DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/cfsgate
  COMPONENT cfsgate)
install(FILES etc/bash-completion/cfsgate DESTINATION share/bash-completion/completions
  COMPONENT cfsgate)

# --- Man pages: the commands in cfsgate(1) come from the program's own help ---

find_package(Python3 COMPONENTS Interpreter)
find_program(GZIP gzip)
if(NOT Python3_Interpreter_FOUND OR NOT GZIP)
  message(STATUS "No python3 or no gzip: no man pages and no packages")
  return()
endif()

set(man_tool ${PROJECT_SOURCE_DIR}/scripts/man_pages.py)
set(man_folder ${PROJECT_BINARY_DIR}/docs/man)
set(man_pages cfsgate.1 cfsgate.conf.5 cfsgated.8)
list(TRANSFORM man_pages PREPEND ${PROJECT_SOURCE_DIR}/docs/man/ OUTPUT_VARIABLE man_sources)
list(TRANSFORM man_sources APPEND .in)
set(man_files cfsgate.1.gz cfsgate.conf.5.gz cfsgated.8.gz)
list(TRANSFORM man_files PREPEND ${man_folder}/)
add_custom_command(OUTPUT ${man_files}
  COMMAND ${Python3_EXECUTABLE} -B ${man_tool} build --output ${man_folder}
    --cfsgate $<TARGET_FILE:cfsgate> --version ${PROJECT_VERSION}
  DEPENDS cfsgate ${man_tool} ${man_sources} COMMENT "Generating man pages" VERBATIM)
add_custom_target(man ALL DEPENDS ${man_files})
foreach(section 1 5 8)
  set(pages ${man_files})
  list(FILTER pages INCLUDE REGEX "[.]${section}[.]gz$")
  install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT cfsgate)
endforeach()

# --- The drop-in variant, which belongs into a package: its files have the names of others ---

if(NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  message(STATUS "Packages: only with the prefix /usr, as in the preset release")
  return()
endif()

file(MAKE_DIRECTORY ${generated}/pmxcfs)
file(CREATE_LINK cfsgated ${generated}/pmxcfs/pmxcfs SYMBOLIC)
file(CREATE_LINK cfsgated.8.gz ${generated}/pmxcfs/pmxcfs.8.gz SYMBOLIC)
install(FILES ${generated}/pmxcfs/pmxcfs DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT pmxcfs)
install(FILES ${generated}/pmxcfs/pmxcfs.8.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man8
  COMPONENT pmxcfs)
install(FILES ${generated}/pve-cluster.service DESTINATION ${unit_folder} COMPONENT pmxcfs)

# --- Documentation of a package, as Debian wants it ---

install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT cfsgate
  FILES_MATCHING PATTERN "*.md" PATTERN man EXCLUDE)
install(FILES ARCHITECTURE.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT cfsgate)

# From SOURCE_DATE_EPOCH where it is set.
string(TIMESTAMP package_date "%a, %d %b %Y %H:%M:%S +0000" UTC)
set(package_version ${PROJECT_VERSION}-${CFSGATE_PACKAGE_RELEASE})
configure_file(etc/deb/changelog.in ${generated}/deb/changelog @ONLY)
configure_file(etc/deb/copyright ${generated}/deb/copyright COPYONLY)
add_custom_command(OUTPUT ${generated}/deb/changelog.gz ${generated}/deb/changelog.Debian.gz
  COMMAND ${GZIP} -9nc ${PROJECT_SOURCE_DIR}/CHANGELOG.md > ${generated}/deb/changelog.gz
  COMMAND ${GZIP} -9nc ${generated}/deb/changelog > ${generated}/deb/changelog.Debian.gz
  DEPENDS CHANGELOG.md ${generated}/deb/changelog VERBATIM)
add_custom_target(package_changelogs ALL
  DEPENDS ${generated}/deb/changelog.gz ${generated}/deb/changelog.Debian.gz)
foreach(package cfsgate pmxcfs)
  string(REPLACE pmxcfs cfsgate-pmxcfs folder ${package})
  install(FILES ${generated}/deb/copyright ${generated}/deb/changelog.gz
    ${generated}/deb/changelog.Debian.gz DESTINATION share/doc/${folder} COMPONENT ${package})
endforeach()

# --- The packages ---

# What is needed was built by name; an install must not build the tests.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)
set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)  # files outside of the prefix: /etc
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
  GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGE_NAME cfsgate)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT ${CFSGATE_MAINTAINER})
set(CPACK_COMPONENTS_ALL cfsgate pmxcfs)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${CFSGATE_PACKAGE_RELEASE})
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${CFSGATE_MAINTAINER})
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_CFSGATE_PACKAGE_NAME cfsgate)
set(CPACK_DEBIAN_CFSGATE_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_CFSGATE_PACKAGE_SHLIBDEPS ON)
# The daemon is root and mounts by itself; so no fusermount.
set(CPACK_DEBIAN_CFSGATE_PACKAGE_DEPENDS "mount, passwd")
set(CPACK_DEBIAN_CFSGATE_PACKAGE_RECOMMENDS "corosync, systemd")
set(CPACK_DEBIAN_CFSGATE_PACKAGE_SUGGESTS "cfsgate-pmxcfs, netbase, nfs-common, rpcbind")
set(CPACK_COMPONENT_CFSGATE_DESCRIPTION
"replicated configuration file system
A small tree of files at /etc/pve, the same on every node of a cluster, that
programs use like any other directory: through FUSE, and by NFSv3 on this
host. Changes are ordered by corosync, kept in a crash-safe store, and in its
history. An independent implementation of what pmxcfs does, with the same
formats and rules.")
set(CPACK_DEBIAN_CFSGATE_PACKAGE_CONTROL_EXTRA
  ${PROJECT_SOURCE_DIR}/etc/deb/cfsgate/conffiles
  ${PROJECT_SOURCE_DIR}/etc/deb/cfsgate/postinst
  ${PROJECT_SOURCE_DIR}/etc/deb/cfsgate/prerm
  ${PROJECT_SOURCE_DIR}/etc/deb/cfsgate/postrm)

set(CPACK_DEBIAN_PMXCFS_PACKAGE_NAME cfsgate-pmxcfs)
set(CPACK_DEBIAN_PMXCFS_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PMXCFS_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PMXCFS_PACKAGE_DEPENDS "cfsgate (= ${package_version})")
# The original's package stays: it also has what the management stack loads. Its daemon, page and
# unit are diverted. What conflicts is another package that does the same as this one.
set(CPACK_DEBIAN_PMXCFS_PACKAGE_PROVIDES pmxcfs)
set(CPACK_DEBIAN_PMXCFS_PACKAGE_CONFLICTS pmxcfs)
set(CPACK_DEBIAN_PMXCFS_PACKAGE_REPLACES pmxcfs)
set(CPACK_COMPONENT_PMXCFS_DESCRIPTION
"cfsgate in the place of pmxcfs
Provides the program pmxcfs and the unit pve-cluster.service with cfsgate, on
hosts that expect them. The files of the original are set aside while this
package is installed; its database is taken over at the first start, and
written again when this package is removed.")
set(CPACK_DEBIAN_PMXCFS_PACKAGE_CONTROL_EXTRA
  ${PROJECT_SOURCE_DIR}/etc/deb/cfsgate-pmxcfs/preinst
  ${PROJECT_SOURCE_DIR}/etc/deb/cfsgate-pmxcfs/postinst
  ${PROJECT_SOURCE_DIR}/etc/deb/cfsgate-pmxcfs/prerm
  ${PROJECT_SOURCE_DIR}/etc/deb/cfsgate-pmxcfs/postrm)
include(CPack)

# The man page and the completions, printed by the program itself from the tables of its options.
# Not by one for another machine, and not by one whose every run is counted or fuzzed.
if(NOT CMAKE_CROSSCOMPILING AND NOT PN_FUZZ AND NOT PN_COVERAGE)
  include(GNUInstallDirs)
  set(manual)
  function(pn_printed name destination) # what `parsec-nas help ARGN` prints
    set(file ${CMAKE_BINARY_DIR}/manual/${name})
    add_custom_command(OUTPUT ${file} DEPENDS parsec-nas VERBATIM
                       COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/manual
                       COMMAND parsec-nas help ${ARGN} > ${file})
    install(FILES ${file} DESTINATION ${CMAKE_INSTALL_DATADIR}/${destination})
    set(manual ${manual} ${file} PARENT_SCOPE)
  endfunction()
  pn_printed(parsec-nas.1 man/man1 --man)
  pn_printed(parsec-nas bash-completion/completions --completion bash)
  pn_printed(_parsec-nas zsh/site-functions --completion zsh)
  pn_printed(parsec-nas.fish fish/vendor_completions.d --completion fish)
  add_custom_target(manual ALL DEPENDS ${manual})
endif()

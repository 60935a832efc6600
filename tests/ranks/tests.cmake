# Programs that test_ranks starts beside the one that is shipped: of the same objects, but for
# tools/ranks.c, which says another version, or with a stand-in for what looks for cards. (Included
# by tests/CMakeLists.txt.)
if(TARGET test_ranks)
  set(objects $<TARGET_OBJECTS:parsec-nas>)
  add_executable(pn_other_version $<FILTER:${objects},EXCLUDE,tools/ranks\\.c>
                                  ${CMAKE_SOURCE_DIR}/tools/ranks.c)
  add_executable(pn_one_card ${objects} ranks/standin_card.c)
  foreach(name pn_other_version pn_one_card)
    target_link_libraries(${name} PRIVATE pn_search pn_cases pn_ranks PkgConfig::JANSSON
                                          OpenMP::OpenMP_C)
    add_dependencies(test_ranks ${name})
  endforeach()
  target_compile_options(pn_other_version PRIVATE -UPN_VERSION -DPN_VERSION="0.0.0")
  foreach(name pn_device_open pn_backend_names pn_backend_describe_card)
    target_link_options(pn_one_card PRIVATE -Wl,--wrap=${name})
  endforeach()
  target_compile_definitions(test_ranks PRIVATE
    PN_OTHER_VERSION="$<TARGET_FILE:pn_other_version>" PN_ONE_CARD="$<TARGET_FILE:pn_one_card>")
endif()

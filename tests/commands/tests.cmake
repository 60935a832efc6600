# What README.md, help and examples/photos tell people to type. (Included by tests/CMakeLists.txt,
# after static/tests.cmake, which looks for Python.)
if(Python3_FOUND AND NOT PN_SANITIZE AND NOT PN_TSAN AND NOT PN_COVERAGE)
  set(check ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/commands/check_commands)
  add_test(NAME commands COMMAND ${check} --build ${CMAKE_BINARY_DIR})
  add_test(NAME commands_self COMMAND ${check} --self-test)
  add_test(NAME photos COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/commands/check_photos
                               $<TARGET_FILE:parsec-nas>)
  set_tests_properties(commands commands_self photos PROPERTIES TIMEOUT 3600 SKIP_RETURN_CODE 77
                                                                ENVIRONMENT "${environment}")
  set_tests_properties(commands PROPERTIES COST 999) # as tests/CMakeLists.txt has it for others
endif()

# How the page of `report` looks. (Included by tests/CMakeLists.txt, after static/tests.cmake, which
# looks for Python.)
if(Python3_FOUND AND NOT PN_SANITIZE AND NOT PN_TSAN AND NOT PN_COVERAGE)
  add_test(NAME check_report COMMAND ${Python3_EXECUTABLE}
           ${CMAKE_CURRENT_SOURCE_DIR}/report/check_report $<TARGET_FILE:parsec-nas>)
  set_tests_properties(check_report PROPERTIES TIMEOUT 1500 SKIP_RETURN_CODE 77
                                               ENVIRONMENT "${environment}")
endif()

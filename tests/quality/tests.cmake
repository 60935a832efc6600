# Scripts of bench/: search_quality's statistics, and that it goes on; compare's verdicts. (Included
# by tests/CMakeLists.txt, after static/tests.cmake, which looks for Python.)
if(Python3_FOUND AND NOT PN_SANITIZE AND NOT PN_TSAN)
  add_test(NAME search_quality
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/quality/test_quality --program
                   $<TARGET_FILE:parsec-nas>)
  add_test(NAME bench_compare
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/bench/compare --self-test)
  set_tests_properties(search_quality PROPERTIES TIMEOUT 900 ENVIRONMENT "${environment}")
endif()

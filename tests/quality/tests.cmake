# bench/search_quality: its statistics, and that it goes on where it was stopped. (Included by
# tests/CMakeLists.txt, after static/tests.cmake, which looks for Python.)
if(Python3_FOUND AND NOT PN_SANITIZE AND NOT PN_TSAN)
  add_test(NAME search_quality
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/quality/test_quality --program
                   $<TARGET_FILE:parsec-nas>)
  set_tests_properties(search_quality PROPERTIES TIMEOUT 900 ENVIRONMENT "${environment}")
endif()

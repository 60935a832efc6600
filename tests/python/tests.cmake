# python/parsec_nas.py, by Debian's python3 if it is there: NumPy is Debian's, too. (Included by
# tests/CMakeLists.txt, where there is a shared library.)
set(python ${Python3_EXECUTABLE})
if(EXISTS /usr/bin/python3)
  set(python /usr/bin/python3)
endif()
if(python AND TARGET pn_shared)
  set(test ${python} ${CMAKE_CURRENT_SOURCE_DIR}/python/test_parsec_nas.py
           $<TARGET_FILE:pn_shared> $<TARGET_FILE:parsec-nas>)
  add_test(NAME python COMMAND ${test})
  add_test(NAME python_without_numpy COMMAND ${test} --without-numpy)
  set_tests_properties(python python_without_numpy PROPERTIES TIMEOUT 300
                                                              ENVIRONMENT "${environment}")
endif()

# Exported networks, asked of other programs. (Included by tests/CMakeLists.txt.)
if(NOT PN_SANITIZE AND NOT PN_TSAN)
  add_test(NAME check_onnx COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/export/check_onnx
                                   $<TARGET_FILE:parsec-nas>)
  set_tests_properties(check_onnx PROPERTIES TIMEOUT 1500 SKIP_RETURN_CODE 77
                                             ENVIRONMENT "${environment}")
  if(Python3_FOUND)
    add_test(NAME check_tensorboard COMMAND ${Python3_EXECUTABLE}
             ${CMAKE_CURRENT_SOURCE_DIR}/export/check_tensorboard $<TARGET_FILE:parsec-nas>)
    set_tests_properties(check_tensorboard PROPERTIES TIMEOUT 1500 ENVIRONMENT "${environment}")
  endif()
endif()

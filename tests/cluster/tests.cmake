# tools/cluster, on hosts and nodes that are namespaces of this host. (Included by
# tests/CMakeLists.txt.)
if(MPI_C_FOUND AND NOT PN_SANITIZE AND NOT PN_TSAN AND NOT PN_COVERAGE)
  foreach(launcher hosts slurm)
    add_test(NAME ${launcher} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cluster/check_${launcher}
                                      $<TARGET_FILE:parsec-nas>)
    set_tests_properties(${launcher} PROPERTIES TIMEOUT 900 SKIP_RETURN_CODE 77
                                                ENVIRONMENT "${environment}")
  endforeach()
endif()
find_program(PN_SHELLCHECK shellcheck)
if(PN_SHELLCHECK)
  add_test(NAME shellcheck_cluster
           COMMAND ${PN_SHELLCHECK} -x -P SCRIPTDIR tools/cluster/hosts tools/cluster/search.sbatch
                   tools/cluster/array.sbatch tests/cluster/check_hosts tests/cluster/check_slurm
           WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endif()

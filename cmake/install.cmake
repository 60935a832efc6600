# What `cmake --install` puts where: the program, and the library with its headers for programs of
# others, who find it by find_package(parsec-nas) or by pkg-config.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# ---- the shared library: the objects of the static ones ------------------------------------------
set(parts pn_contract pn_kernels pn_reference pn_runtime pn_network pn_export pn_rundir pn_methods
          pn_train pn_truth pn_api)
foreach(isa IN LISTS isas)
  list(APPEND parts pn_host_${isa} pn_host_${isa}_bf16)
endforeach()
set(language C)
foreach(part pn_emulator pn_emulated pn_emulated_tf32 pn_emulated_bf16 pn_cuda pn_cuda_tf32
             pn_cuda_bf16 pn_cuda_fp16 pn_sizes)
  if(TARGET ${part})
    list(APPEND parts ${part})
    set(language CXX) # its linker knows C++'s library
  endif()
endforeach()
list(TRANSFORM parts REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
add_library(pn_shared SHARED ${objects})
target_link_libraries(pn_shared PRIVATE m OpenMP::OpenMP_C ZLIB::ZLIB Threads::Threads
                                        PkgConfig::JANSSON PkgConfig::PICTURES)
if(TARGET pn_cuda)
  target_link_libraries(pn_shared PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS})
endif()
target_link_options(pn_shared PRIVATE
  LINKER:--version-script=${CMAKE_SOURCE_DIR}/cmake/exports.map
  LINKER:--no-undefined,-Bsymbolic-functions) # and are called without a detour
# Before 1.0 every second number may change the interface.
set_target_properties(pn_shared PROPERTIES
  OUTPUT_NAME parsec-nas EXPORT_NAME parsec-nas LINKER_LANGUAGE ${language}
  LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/exports.map
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})

# ---- its headers: those that say so, in their folders --------------------------------------------
file(GLOB headers CONFIGURE_DEPENDS kernels/*.h runtime/*.h search/*/*.h api/*.h)
foreach(header IN LISTS headers)
  file(STRINGS ${header} public REGEX "PN_API_BEGIN")
  if(public)
    list(APPEND public_headers ${header})
  endif()
endforeach()
target_sources(pn_shared PUBLIC FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR}
                                FILES ${public_headers})

# ---- how others find it --------------------------------------------------------------------------
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/parsec-nas)
# Relative to where the file lies, so that the whole tree can be moved.
cmake_path(IS_ABSOLUTE CMAKE_INSTALL_LIBDIR fixed)
if(fixed)
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" up "${up}")
  set(pc_prefix "\${pcfiledir}/${up}")
endif()
set(pc_libdir "\${prefix}")
set(pc_includedir "\${prefix}")
cmake_path(APPEND pc_libdir "${CMAKE_INSTALL_LIBDIR}")
cmake_path(APPEND pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}" parsec-nas)
configure_file(cmake/parsec-nas.pc.in parsec-nas.pc @ONLY)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/parsec-nas-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)

# ---- what goes where -----------------------------------------------------------------------------
install(TARGETS parsec-nas)
install(TARGETS pn_shared EXPORT parsec-nas-targets
        FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/parsec-nas)
install(EXPORT parsec-nas-targets NAMESPACE parsec-nas:: DESTINATION ${package})
install(FILES cmake/parsec-nas-config.cmake ${CMAKE_BINARY_DIR}/parsec-nas-config-version.cmake
        DESTINATION ${package})
install(FILES ${CMAKE_BINARY_DIR}/parsec-nas.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
# For PYTHONPATH; it finds the library by its own place.
install(FILES python/parsec_nas.py DESTINATION ${CMAKE_INSTALL_DATADIR}/parsec-nas/python)
install(FILES LICENSE README.md CHANGELOG.md CONTRIBUTING.md PERF.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY doc DESTINATION ${CMAKE_INSTALL_DOCDIR})
# The table itself is in the program and in the library.
install(FILES truth/README.md truth/LICENSE-Apache-2.0 DESTINATION ${CMAKE_INSTALL_DOCDIR}/truth)
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR} PATTERN __pycache__ EXCLUDE)
# What load_in_pytorch.py computes with.
install(FILES bench/peers/torch_network.py DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

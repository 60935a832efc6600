# find_package(parsec-nas) -> parsec-nas::parsec-nas. Nothing else has to be found: no public header
# includes one of another library, and the shared library brings what it is linked with.
include(${CMAKE_CURRENT_LIST_DIR}/parsec-nas-targets.cmake)

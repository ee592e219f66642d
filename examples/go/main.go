// The function is in exports/; the generated package beside it is what calls it.
package main

import _ "function/exports/wit_exports"

// Never called: a function answers requests.
func main() {}

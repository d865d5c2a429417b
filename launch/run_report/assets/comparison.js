// The page of a comparison has charts only.
"use strict";

drawFrontCharts();

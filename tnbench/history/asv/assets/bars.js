/* With the cases along the x-axis, asv hands flot their ids. flot-orderbars then subtracts one id from another to find
   how wide the axis is, and where there are several bars to a case, as with two machines, it draws none. So we give
   flot the places 0, 1, 2, ... instead, and the ids as their labels, wrapped to the room between two places. */
(function ($) {
    "use strict";
    var MARGINS = 80; /* pixels beside the axis: the numbers of the y-axis and its unit */
    var draw = $.plot;

    $.plot = $.extend(function (placeholder, series, options) {
        if (options.xaxis.mode === "categories") {
            var names = [];
            series.forEach(function (one) {
                one.data.forEach(function (point) {
                    if (names.indexOf(point[0]) === -1) {
                        names.push(point[0]);
                    }
                    point[0] = names.indexOf(point[0]);
                });
            });
            $.extend(options.xaxis, {
                mode: null,
                ticks: names.map(function (name, place) { return [place, name.replace(/\//g, "/<wbr>")]; }),
                min: -0.5,
                max: names.length - 0.5,
                labelWidth: Math.floor(0.9 * ($(placeholder).width() - MARGINS) / names.length)
            });
        }
        return draw(placeholder, series, options);
    }, draw);
})(jQuery);
